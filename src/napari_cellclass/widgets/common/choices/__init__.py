"""What a user chooses: layers and their channels, data and groups, the settings of a verb."""
