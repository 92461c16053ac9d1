// Private addresses for the three storage services and the vault, and the names that lead to them.

param namePrefix string
param location string
param tags object
param networkId string
param subnetId string
param storageId string
param vaultId string

var targets = [
  { key: 'blob', resourceId: storageId, group: 'blob', zone: 'privatelink.blob.${environment().suffixes.storage}' }
  { key: 'queue', resourceId: storageId, group: 'queue', zone: 'privatelink.queue.${environment().suffixes.storage}' }
  { key: 'table', resourceId: storageId, group: 'table', zone: 'privatelink.table.${environment().suffixes.storage}' }
  { key: 'vault', resourceId: vaultId, group: 'vault', zone: 'privatelink.vaultcore.azure.net' }
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for target in targets: {
  name: target.zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (target, index) in targets: {
  parent: zones[index]
  name: '${namePrefix}-${target.key}'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: { id: networkId }
  }
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2025-05-01' = [for target in targets: {
  name: '${namePrefix}-${target.key}'
  location: location
  tags: tags
  properties: {
    subnet: { id: subnetId }
    privateLinkServiceConnections: [
      {
        name: target.key
        properties: {
          privateLinkServiceId: target.resourceId
          groupIds: [target.group]
        }
      }
    ]
  }
}]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-05-01' = [for (target, index) in targets: {
  parent: endpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.key
        properties: { privateDnsZoneId: zones[index].id }
      }
    ]
  }
}]
