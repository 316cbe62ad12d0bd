"""The policy: what it says (model, parse), and what follows from it for one action (evaluate, explain)."""
