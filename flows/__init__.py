"""What is wired to what: each flow is one file that reads like its drawing."""
