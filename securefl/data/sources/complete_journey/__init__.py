"""The Complete Journey grocery data as five retailers."""
