"""Revision 0001: its tables (`schema`), and how an existing deployment's schema v0 becomes them (`adoption`).

MySQL commits at every change of a table, so each step of an adoption looks at what is there and does what is still
missing: an adoption that was interrupted anywhere is finished by running it again.
"""
