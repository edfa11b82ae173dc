"""A receiver on real sockets, for HTTP and for mail, that behaves as badly as it is told; and remembers everything.

In tests: the fixtures `receiver`, `secure_receiver` and `mailbox`. For anything that needs it as a process of its own:
`python -m tests.receiver`.
"""
