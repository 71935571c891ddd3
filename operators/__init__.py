"""What happens to data: one algorithm a file, each a pure class and a thin operator."""
