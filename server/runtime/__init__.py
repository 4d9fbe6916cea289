"""How the program runs: metrics, logs, processes, start and stop."""
