"""Checks of infra/, which need no Bicep compiler."""
