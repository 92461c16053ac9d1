// Everything that the service needs, in one resource group. docs/azure.md explains it; infra/README.md maps the files.
targetScope = 'resourceGroup'

metadata name = 'OpenCX handoff for Dynamics 365 and Salesforce'

// --- where, and what it is called ---

@description('First part of every name. Lower-case letters and digits only: the storage account allows no others.')
@minLength(3)
@maxLength(12)
param namePrefix string = 'opencx'

@description('Region. Flex Consumption must be offered there: az functionapp list-flexconsumption-locations')
param location string = resourceGroup().location

@description('Tags on every resource.')
param tags object = {}

@description('Name of the azd environment; empty without azd.')
param environmentName string = ''

// --- size ---

@description('Memory of one instance, in MB.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances at a time: it caps the cost and the load on Dynamics 365. Microsoft\'s samples use 40 to 1000.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances kept warm for the HTTP functions, paid for all the time. 0: the first call after a pause waits.')
@minValue(0)
@maxValue(1000)
param alwaysReadyInstances int = 0

@description('Instances kept warm for the messages of open conversations, paid for all the time. 0: what is said after a pause waits for an instance to start, some seconds.')
@minValue(0)
@maxValue(1000)
param relayReadyInstances int = 1

@description('Handoffs that one instance performs at a time, and the threads of its worker.')
@minValue(1)
@maxValue(1000)
param handoffsPerInstance int = 16

@description('Copies of the stored handoffs: within one data centre (LRS), over the zones (ZRS), or over two regions.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageSku string = 'Standard_LRS'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Gigabytes of logs a day after which no more are taken until the next day; -1: no limit.')
param logDailyCapGb int = -1

// --- network ---

@description('Storage and Key Vault are reached by private endpoints only, and the app joins a virtual network.')
param useVirtualNetwork bool = false

@description('Address space of that network; three subnets are cut from it, /24 at least.')
param virtualNetworkPrefix string = '10.140.0.0/24'

// --- Dynamics 365 (docs/settings.md) ---

@description('DYNAMICS_ENVIRONMENT_URL: https://<org>.crm.dynamics.com; none: handoffs go to Salesforce only.')
param dynamicsEnvironmentUrl string

@description('DYNAMICS_AUTH: client_secret, or managed_identity for the identity made here.')
@allowed(['client_secret', 'managed_identity'])
param dynamicsAuth string = 'client_secret'

@description('DYNAMICS_TENANT_ID: needed with client_secret.')
param dynamicsTenantId string = ''

@description('DYNAMICS_CLIENT_ID: needed with client_secret.')
param dynamicsClientId string = ''

@description('Value of the app registration\'s client secret; empty: put it into the vault yourself.')
@secure()
param dynamicsClientSecret string = ''

// --- what a handoff becomes (docs/settings.md) ---

@description('DEFAULT_QUEUE_ID: GUID of the queue for incidents.')
param defaultQueueId string = ''

@description('DEFAULT_WORKSTREAM_ID: GUID of the workstream for chats.')
param defaultWorkstreamId string = ''

@description('DEFAULT_OWNER_ID: GUID of a user, or teams(<guid>).')
param defaultOwnerId string = ''

@description('DEFAULT_PRIORITY: 1 (high) to 4; empty: the service\'s default.')
@allowed(['', '1', '2', '3', '4'])
param defaultPriority string = ''

@description('TICKET_PROPERTIES: a JSON object as text.')
param ticketProperties string = ''

@description('CONTACT_MATCH: the order in which a contact is looked up.')
@allowed(['', 'email', 'phone', 'email,phone', 'phone,email'])
param contactMatch string = ''

@description('UNLINKED_INCIDENTS: what becomes of an incident without contact and e-mail.')
@allowed(['', 'caller_contact', 'fallback_customer', 'omit'])
param unlinkedIncidents string = ''

@description('FALLBACK_CUSTOMER: contacts(<guid>) or accounts(<guid>).')
param fallbackCustomer string = ''

@description('HANDOFF_ROUTES: a JSON object as text, channel to target.')
param handoffRoutes string = ''

@description('LIVE_WORK_ITEM_PRESET: what a chat becomes. Single names of a table go into extraSettings.')
@allowed(['', 'opencx', 'msdyn', 'messaging'])
param liveWorkItemPreset string = ''

// --- conversations with reps in Dynamics 365 (docs/settings.md) ---

@description('DYNAMICS_MESSAGING_URL: https://m-<organization>.<region>.omnichannelengagementhub.com')
param dynamicsMessagingUrl string = ''

@description('DYNAMICS_MESSAGING_CHANNEL_ID: a GUID, or a JSON object as text, channel to GUID.')
param dynamicsMessagingChannelId string = ''

@description('DYNAMICS_ORGANIZATION_ID: GUID of the Dataverse organization.')
param dynamicsOrganizationId string = ''

@description('DYNAMICS_MESSAGING_SCOPE: what tokens are for.')
param dynamicsMessagingScope string = ''

@description('DYNAMICS_AVAILABILITY: what becomes of a chat when no rep is there.')
@allowed(['', 'off', 'say', 'incident'])
param dynamicsAvailability string = ''

@description('DYNAMICS_AUTOMATED_SENDERS: who writes by itself, with commas between them.')
param dynamicsAutomatedSenders string = ''

@description('DYNAMICS_WEBHOOK_AUTH: whether the webhook needs a token besides the lock.')
@allowed(['', 'token', 'lock'])
param dynamicsWebhookAuth string = ''

@description('DYNAMICS_WEBHOOK_APP: the app that the webhook\'s token is made for.')
param dynamicsWebhookApp string = ''

@description('DYNAMICS_WEBHOOK_AUDIENCE: what the webhook\'s token may be for, with commas between them.')
param dynamicsWebhookAudience string = ''

@description('Unguessable part of the webhook\'s address, 16 characters at least; empty: put it into the vault yourself.')
@secure()
param dynamicsWebhookLock string = ''

// --- Salesforce (docs/settings.md) ---

@description('SALESFORCE_SCRT_URL: https://<company>.my.salesforce-scrt.com')
param salesforceScrtUrl string = ''

@description('SALESFORCE_ORG_ID')
param salesforceOrgId string = ''

@description('SALESFORCE_ES_DEVELOPER_NAME: API name of the Embedded Service Deployment.')
param salesforceEsDeveloperName string = ''

@description('SALESFORCE_JWT_ISSUER: issuer of the keyset; empty: customers are guests.')
param salesforceJwtIssuer string = ''

@description('SALESFORCE_AUTH_KEY_ID: id of the key in the keyset.')
param salesforceAuthKeyId string = ''

@description('Private key of the keyset, as PEM; empty: none, or put it into the vault yourself.')
@secure()
param salesforcePrivateKey string = ''

@description('SALESFORCE_SUBJECT: who is one person there: each session, or a known customer.')
@allowed(['', 'session', 'customer'])
param salesforceSubject string = ''

@description('SALESFORCE_LANGUAGE: such as en_US.')
param salesforceLanguage string = ''

@description('SALESFORCE_ROUTING_ATTRIBUTES: a JSON object as text.')
param salesforceRoutingAttributes string = ''

@description('SALESFORCE_GUARDED_WORDS: words that may opt a customer out when they come alone, with commas between them.')
param salesforceGuardedWords string = ''

@description('SALESFORCE_RECEIPTS: false: reps are not shown what has been delivered to OpenCX.')
@allowed(['', 'true', 'false'])
param salesforceReceipts string = ''

@description('SALESFORCE_REOPEN: true: a message after the end begins anew.')
@allowed(['', 'true', 'false'])
param salesforceReopen string = ''

// --- OpenCX (docs/settings.md) ---

@description('OPENCX_API_URL')
param opencxApiUrl string = ''

@description('OpenCX API key; empty: none, or put it into the vault yourself.')
@secure()
param opencxApiKey string = ''

@description('Signing secret of OpenCX\'s webhooks; empty: put it into the vault yourself.')
@secure()
param opencxWebhookSecret string = ''

@description('OPENCX_AGENT_SENDER')
param opencxAgentSender string = ''

@description('OPENCX_WRITE_BACK: how the ids of what has landed get back.')
@allowed(['', 'replies', 'message', 'silent', 'off'])
param opencxWriteBack string = ''

@description('OPENCX_POLL_SECONDS: how often a customer\'s messages are looked for without a webhook, 5 to 86400.')
param opencxPollSeconds string = ''

@description('ATTACHMENT_HOSTS: from where files are fetched, with commas between them.')
param attachmentHosts string = ''

// --- messages while a conversation is open (docs/settings.md) ---

@description('RELAY_AUTOMATED_MESSAGES: true: the customer gets automated messages too.')
@allowed(['', 'true', 'false'])
param relayAutomatedMessages string = ''

@description('RELAY_CLOSE_SESSION: false: OpenCX\'s session stays open when the rep has ended the conversation.')
@allowed(['', 'true', 'false'])
param relayCloseSession string = ''

@description('RELAY_END_CONVERSATION: false: the rep\'s conversation stays open when OpenCX has closed the session.')
@allowed(['', 'true', 'false'])
param relayEndConversation string = ''

// --- limits (docs/settings.md) ---

@description('HANDOFF_BUDGET_SECONDS: 2 to 55.')
param handoffBudgetSeconds string = ''

@description('MAX_BODY_BYTES')
param maxBodyBytes string = ''

@description('RECORD_RETENTION_DAYS: 1 to 3650.')
param recordRetentionDays string = ''

@description('RECONCILE_SCHEDULE: when the timer runs, as NCRONTAB in UTC.')
param reconcileSchedule string = '0 * * * * *'

@description('RECONCILE_HANDOFFS_PER_SECOND: 0.1 to 1000.')
param reconcileHandoffsPerSecond string = ''

@description('More app settings by name, such as LIVE_WORK_ITEM_SUBJECT_FIELD. No secrets: they can be read by whoever reads the deployment.')
param extraSettings object = {}

// --- people ---

@description('E-mail addresses that alerts go to.')
param alertEmails array = []

@description('Resource ids of action groups that alerts go to.')
param actionGroupIds array = []

@description('Object id of the person or group that puts secrets into the vault; empty: give that role by hand.')
param administratorObjectId string = ''

@description('What administratorObjectId is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param administratorType string = 'User'

@description('Days in which a deleted vault or secret can be brought back. It cannot be changed later.')
@minValue(7)
@maxValue(90)
param vaultRetentionDays int = 90

@description('Bring back the vault of the same name that was deleted with an earlier installation.')
param recoverVault bool = false

// --- names ---

var prefix = toLower(namePrefix)
var suffix = uniqueString(resourceGroup().id, prefix)
var names = {
  app: '${prefix}-${suffix}'
  identity: '${prefix}-identity-${suffix}'
  plan: '${prefix}-plan-${suffix}'
  storage: take('${prefix}${suffix}', 24)
  vault: take('${prefix}-kv-${suffix}', 24)
  workspace: '${prefix}-logs-${suffix}'
  insights: '${prefix}-insights-${suffix}'
  network: '${prefix}-network-${suffix}'
}
var packageContainer = 'app-package'
var tableName = 'opencxhandoffs'
var queueNames = ['opencx-handoffs', 'opencx-relay']
var allTags = union(tags, empty(environmentName) ? {} : { 'azd-env-name': environmentName })

// Only what has a value becomes a setting: the service's own defaults stand for the rest.
var chosenSettings = union(handoffSettings, messagingSettings, salesforceSettings, opencxSettings, relaySettings)
var handoffSettings = union(
  contains(['', 'none'], toLower(dynamicsEnvironmentUrl)) ? {} : { DYNAMICS_ENVIRONMENT_URL: dynamicsEnvironmentUrl },
  empty(dynamicsTenantId) ? {} : { DYNAMICS_TENANT_ID: dynamicsTenantId },
  empty(dynamicsClientId) ? {} : { DYNAMICS_CLIENT_ID: dynamicsClientId },
  empty(defaultQueueId) ? {} : { DEFAULT_QUEUE_ID: defaultQueueId },
  empty(defaultWorkstreamId) ? {} : { DEFAULT_WORKSTREAM_ID: defaultWorkstreamId },
  empty(defaultOwnerId) ? {} : { DEFAULT_OWNER_ID: defaultOwnerId },
  empty(defaultPriority) ? {} : { DEFAULT_PRIORITY: defaultPriority },
  empty(ticketProperties) ? {} : { TICKET_PROPERTIES: ticketProperties },
  empty(contactMatch) ? {} : { CONTACT_MATCH: contactMatch },
  empty(unlinkedIncidents) ? {} : { UNLINKED_INCIDENTS: unlinkedIncidents },
  empty(fallbackCustomer) ? {} : { FALLBACK_CUSTOMER: fallbackCustomer },
  empty(handoffRoutes) ? {} : { HANDOFF_ROUTES: handoffRoutes },
  empty(liveWorkItemPreset) ? {} : { LIVE_WORK_ITEM_PRESET: liveWorkItemPreset },
  empty(handoffBudgetSeconds) ? {} : { HANDOFF_BUDGET_SECONDS: handoffBudgetSeconds },
  empty(maxBodyBytes) ? {} : { MAX_BODY_BYTES: maxBodyBytes },
  empty(recordRetentionDays) ? {} : { RECORD_RETENTION_DAYS: recordRetentionDays },
  empty(reconcileHandoffsPerSecond) ? {} : { RECONCILE_HANDOFFS_PER_SECOND: reconcileHandoffsPerSecond }
)
var messagingSettings = union(
  empty(dynamicsMessagingUrl) ? {} : { DYNAMICS_MESSAGING_URL: dynamicsMessagingUrl },
  empty(dynamicsMessagingChannelId) ? {} : { DYNAMICS_MESSAGING_CHANNEL_ID: dynamicsMessagingChannelId },
  empty(dynamicsOrganizationId) ? {} : { DYNAMICS_ORGANIZATION_ID: dynamicsOrganizationId },
  empty(dynamicsMessagingScope) ? {} : { DYNAMICS_MESSAGING_SCOPE: dynamicsMessagingScope },
  empty(dynamicsAvailability) ? {} : { DYNAMICS_AVAILABILITY: dynamicsAvailability },
  empty(dynamicsAutomatedSenders) ? {} : { DYNAMICS_AUTOMATED_SENDERS: dynamicsAutomatedSenders },
  empty(dynamicsWebhookAuth) ? {} : { DYNAMICS_WEBHOOK_AUTH: dynamicsWebhookAuth },
  empty(dynamicsWebhookApp) ? {} : { DYNAMICS_WEBHOOK_APP: dynamicsWebhookApp },
  empty(dynamicsWebhookAudience) ? {} : { DYNAMICS_WEBHOOK_AUDIENCE: dynamicsWebhookAudience }
)
var salesforceSettings = union(
  empty(salesforceScrtUrl) ? {} : { SALESFORCE_SCRT_URL: salesforceScrtUrl },
  empty(salesforceOrgId) ? {} : { SALESFORCE_ORG_ID: salesforceOrgId },
  empty(salesforceEsDeveloperName) ? {} : { SALESFORCE_ES_DEVELOPER_NAME: salesforceEsDeveloperName },
  empty(salesforceJwtIssuer) ? {} : { SALESFORCE_JWT_ISSUER: salesforceJwtIssuer },
  empty(salesforceAuthKeyId) ? {} : { SALESFORCE_AUTH_KEY_ID: salesforceAuthKeyId },
  empty(salesforceSubject) ? {} : { SALESFORCE_SUBJECT: salesforceSubject },
  empty(salesforceLanguage) ? {} : { SALESFORCE_LANGUAGE: salesforceLanguage },
  empty(salesforceRoutingAttributes) ? {} : { SALESFORCE_ROUTING_ATTRIBUTES: salesforceRoutingAttributes },
  empty(salesforceReceipts) ? {} : { SALESFORCE_RECEIPTS: salesforceReceipts },
  empty(salesforceReopen) ? {} : { SALESFORCE_REOPEN: salesforceReopen },
  empty(salesforceGuardedWords) ? {} : { SALESFORCE_GUARDED_WORDS: salesforceGuardedWords }
)
var opencxSettings = union(
  empty(opencxApiUrl) ? {} : { OPENCX_API_URL: opencxApiUrl },
  empty(opencxAgentSender) ? {} : { OPENCX_AGENT_SENDER: opencxAgentSender },
  empty(opencxWriteBack) ? {} : { OPENCX_WRITE_BACK: opencxWriteBack },
  empty(opencxPollSeconds) ? {} : { OPENCX_POLL_SECONDS: opencxPollSeconds },
  empty(attachmentHosts) ? {} : { ATTACHMENT_HOSTS: attachmentHosts }
)
var relaySettings = union(
  empty(relayAutomatedMessages) ? {} : { RELAY_AUTOMATED_MESSAGES: relayAutomatedMessages },
  empty(relayCloseSession) ? {} : { RELAY_CLOSE_SESSION: relayCloseSession },
  empty(relayEndConversation) ? {} : { RELAY_END_CONVERSATION: relayEndConversation }
)

// --- resources, by concern ---

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    name: names.identity
    location: location
    tags: allTags
  }
}

module logs 'modules/logs.bicep' = {
  name: 'logs'
  params: {
    workspaceName: names.workspace
    insightsName: names.insights
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
  }
}

module network 'modules/network.bicep' = if (useVirtualNetwork) {
  name: 'network'
  params: {
    name: names.network
    location: location
    tags: allTags
    addressPrefix: virtualNetworkPrefix
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    name: names.storage
    location: location
    tags: allTags
    sku: storageSku
    packageContainer: packageContainer
    tableName: tableName
    queueNames: queueNames
    isPublic: !useVirtualNetwork
    workspaceId: logs.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  params: {
    name: names.vault
    location: location
    tags: allTags
    retentionDays: vaultRetentionDays
    recover: recoverVault
    isPublic: !useVirtualNetwork
    workspaceId: logs.outputs.workspaceId
    dynamicsClientSecret: dynamicsClientSecret
    dynamicsWebhookLock: dynamicsWebhookLock
    opencxApiKey: opencxApiKey
    opencxWebhookSecret: opencxWebhookSecret
    salesforcePrivateKey: salesforcePrivateKey
  }
}

module endpoints 'modules/endpoints.bicep' = if (useVirtualNetwork) {
  name: 'endpoints'
  params: {
    namePrefix: prefix
    location: location
    tags: allTags
    networkId: useVirtualNetwork ? network!.outputs.id : ''
    subnetId: useVirtualNetwork ? network!.outputs.endpointSubnetId : ''
    storageId: storage.outputs.id
    vaultId: vault.outputs.id
  }
}

module roles 'modules/roles.bicep' = {
  name: 'roles'
  params: {
    principalId: identity.outputs.principalId
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    insightsName: logs.outputs.insightsName
    administratorObjectId: administratorObjectId
    administratorType: administratorType
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  params: {
    name: names.app
    planName: names.plan
    location: location
    tags: allTags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packageContainer: packageContainer
    vaultUri: vault.outputs.uri
    insightsName: logs.outputs.insightsName
    workspaceId: logs.outputs.workspaceId
    subnetId: useVirtualNetwork ? network!.outputs.appSubnetId : ''
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyInstances: alwaysReadyInstances
    relayReadyInstances: relayReadyInstances
    handoffsPerInstance: handoffsPerInstance
    dynamicsAuth: dynamicsAuth
    reconcileSchedule: reconcileSchedule
    moreSettings: union(extraSettings, chosenSettings)
  }
  // The host reads its storage as soon as it starts: the roles and the private addresses come first.
  dependsOn: [
    roles
    endpoints
  ]
}

module monitoring 'monitoring/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    namePrefix: prefix
    location: location
    tags: allTags
    workspaceId: logs.outputs.workspaceId
    applicationInsightsId: logs.outputs.insightsId
    alertEmails: alertEmails
    actionGroupIds: actionGroupIds
  }
}

@description('Where OpenCX sends handoffs. The key: az functionapp keys list -g <group> -n <functionAppName>')
output functionUrl string = 'https://${app.outputs.hostName}/api/handoff'

@description('Where OpenCX sends its webhooks.')
output opencxWebhookUrl string = 'https://${app.outputs.hostName}/api/opencx/events'

@description('Where Dynamics 365 sends what reps write, with the value of dynamics-webhook-lock at its end.')
output dynamicsWebhookUrl string = 'https://${app.outputs.hostName}/api/dynamics/'

output functionAppName string = app.outputs.name

@description('az keyvault secret set --vault-name <keyVaultName> --name <one of vaultEntries> --value <value>')
output keyVaultName string = vault.outputs.name

output keyVaultUri string = vault.outputs.uri

@description('The names that the service looks for in the vault.')
output vaultEntries array = vault.outputs.entries

@description('With dynamicsAuth managed_identity: the application id of the Application User in Dynamics 365.')
output identityClientId string = identity.outputs.clientId

output storageAccountName string = storage.outputs.name
