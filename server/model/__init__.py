"""Entities and their enumerations: plain data that every layer may know."""
