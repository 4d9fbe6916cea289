"""Calls: what may happen in one (`state`), who decides it (`manager`), who hosts its people (`seat`)."""
