"""What the API and fault tests stand on: a real server binary over a real database."""
