"""MQTT: events, states, commands, best pictures, Home Assistant discovery."""
