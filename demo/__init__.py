"""The phone app: a bundle as an installable page that works offline."""
