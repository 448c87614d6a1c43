"""What a lesson has taught, or what would bore a reader. CONTRIBUTING.md says what each room is for."""
