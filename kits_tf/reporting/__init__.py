"""Output of a prediction for people: measurements, overlay pictures, web pages, and the folder that holds them."""
