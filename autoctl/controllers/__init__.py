"""The controllers, one package a domain; each observes, decides (pure) and acts."""
