"""How people and programs read Watchkeeper: the REST API."""
