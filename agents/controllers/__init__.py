"""What chooses theta for scenes."""
