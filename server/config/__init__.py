"""The configuration: typed sections (`settings`), and where their values come from (`sources`)."""
