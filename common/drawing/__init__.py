"""Pictures for people: frames scaled, faces marked or covered, paced; what the page and the screen share."""
