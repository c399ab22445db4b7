"""The service that follows faces and writes their lives down."""
