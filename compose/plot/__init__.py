"""Drawing a series with its band and findings: in the terminal and as a picture."""
