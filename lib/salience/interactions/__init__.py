"""Events to interactions: rules, de-duplication, pseudonyms."""
