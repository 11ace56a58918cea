"""The routes of the pages, one file a page."""
