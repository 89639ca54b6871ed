"""The routes of the API, a file a kind; `catalogd.web.api` puts them together."""
