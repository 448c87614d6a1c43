"""What the lessons would rather not show: opening pictures, drawing grids, counting hits."""
