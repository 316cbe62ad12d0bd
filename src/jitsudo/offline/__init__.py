"""What the command line and CI do without a daemon, with the daemon's own parser and evaluator."""
