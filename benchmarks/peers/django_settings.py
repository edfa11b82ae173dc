"""The least that django-celery-beat needs: the benchmark's PostgreSQL."""

import os
from urllib.parse import parse_qs, urlsplit

_url = urlsplit(os.environ["PEER_DATABASE_URL"])
_where = parse_qs(_url.query)

SECRET_KEY = "of no use: there is no site"  # noqa: S105
INSTALLED_APPS = ["django_celery_beat"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": _url.username,
        "HOST": _where["host"][0],
        "PORT": _where["port"][0],
    }
}
