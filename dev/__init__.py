"""What a machine without servers needs: embedded PostgreSQL and Valkey, roles, and the Procfile's processes.

Used by `make up|demo|test` and `cmis dev`; a deployed product never imports it (the server wheels are the extra `dev`).
"""
