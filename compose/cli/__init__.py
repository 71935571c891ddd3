"""Groups of commands of the command line; each module adds its own to the front door."""
