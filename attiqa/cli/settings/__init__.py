"""What each command can be told; nothing here is slow to import."""
