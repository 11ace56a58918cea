"""The farm over HTTP: the API at /v1 and the dashboard at /. `create_app` in app.py puts it together.

Nothing here is imported by `import sigmafarm`: FastAPI takes a third of a second.
"""
