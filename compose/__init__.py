"""How the parts are put together: launchers, the embedded system and the simulated ship."""
