// The vault of the secrets. Roles decide who reads, nothing is gone for good before its days are over.

param name string
param location string
param tags object
param retentionDays int
param recover bool
param workspaceId string

@description('Reachable from the internet, by identities with a role; else by private endpoints only.')
param isPublic bool

@secure()
param dynamicsClientSecret string

@secure()
param dynamicsWebhookLock string

@secure()
param opencxApiKey string

@secure()
param opencxWebhookSecret string

@secure()
param salesforcePrivateKey string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    createMode: recover ? 'recover' : 'default'
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: retentionDays
    enablePurgeProtection: true
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    networkAcls: {
      // Resource Manager is a trusted service: it writes the secrets below also where the internet is shut out.
      bypass: 'AzureServices'
      defaultAction: isPublic ? 'Allow' : 'Deny'
    }
  }
}

resource dynamicsEntry 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(dynamicsClientSecret)) {
  parent: vault
  name: 'dynamics-client-secret'
  properties: { value: dynamicsClientSecret }
}

resource dynamicsLockEntry 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(dynamicsWebhookLock)) {
  parent: vault
  name: 'dynamics-webhook-lock'
  properties: { value: dynamicsWebhookLock }
}

resource opencxEntry 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(opencxApiKey)) {
  parent: vault
  name: 'opencx-api-key'
  properties: { value: opencxApiKey }
}

resource opencxWebhookEntry 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(opencxWebhookSecret)) {
  parent: vault
  name: 'opencx-webhook-secret'
  properties: { value: opencxWebhookSecret }
}

resource salesforceEntry 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(salesforcePrivateKey)) {
  parent: vault
  name: 'salesforce-private-key'
  properties: { value: salesforcePrivateKey }
}

// Who read, wrote or deleted a secret.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'audit'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
output entries array = [
  'dynamics-client-secret'
  'dynamics-webhook-lock'
  'opencx-api-key'
  'opencx-webhook-secret'
  'salesforce-private-key'
]
