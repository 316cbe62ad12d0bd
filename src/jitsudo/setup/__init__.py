"""Trying, enabling and taking back: how sudo, or PAM, is put in jitsudo's hands (docs/adr/0018)."""
