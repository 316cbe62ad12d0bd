"""Requests, approvals, grants: the signed documents, their life, and their verification. Pure."""
