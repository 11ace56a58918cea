"""Prompts in: submit, upload, replay."""
