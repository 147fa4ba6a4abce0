"""What coordinator and members say to each other."""
