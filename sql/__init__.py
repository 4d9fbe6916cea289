"""The database's migrations, applied by `python -m server migrate` (Alembic)."""
