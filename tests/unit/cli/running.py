"""Run `cmis` in this process, from its arguments to its exit code, as the console script does."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from cli.main import main

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Cmis:
    capsys: pytest.CaptureFixture[str]
    environ: Mapping[str, str]

    def __call__(self, *arguments: str) -> Done:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["cmis", *arguments])
            for name in (
                "DATABASE_URL",
                "MIGRATION_DATABASE_URL",
                "READONLY_DATABASE_URL",
                "CMIS_ORG",
                "CMIS_USER",
                "CMIS_DEBUG",
            ):
                patch.delenv(name, raising=False)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            self.capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        captured = self.capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, captured.out, captured.err)
