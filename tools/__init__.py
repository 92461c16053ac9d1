"""What people run by hand against a real environment; never deployed."""
