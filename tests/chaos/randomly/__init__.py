"""What a random run is made of: its mix, its faults, its users, and the judgement at its end."""
