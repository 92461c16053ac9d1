// Values from the environment: azd's own (azd env set NAME value), a shell's, or a workflow's.
// The names are those of docs/settings.md wherever a parameter becomes a setting.
using './main.bicep'

param namePrefix = readEnvironmentVariable('NAME_PREFIX', 'opencx')
param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', '')
param tags = json(readEnvironmentVariable('RESOURCE_TAGS', '{}'))

param instanceMemoryMB = int(readEnvironmentVariable('INSTANCE_MEMORY_MB', '2048'))
param maximumInstanceCount = int(readEnvironmentVariable('MAXIMUM_INSTANCE_COUNT', '40'))
param alwaysReadyInstances = int(readEnvironmentVariable('ALWAYS_READY_INSTANCES', '0'))
param handoffsPerInstance = int(readEnvironmentVariable('PYTHON_THREADPOOL_THREAD_COUNT', '16'))
param storageSku = readEnvironmentVariable('STORAGE_SKU', 'Standard_LRS')
param logRetentionDays = int(readEnvironmentVariable('LOG_RETENTION_DAYS', '90'))
param logDailyCapGb = int(readEnvironmentVariable('LOG_DAILY_CAP_GB', '-1'))

param useVirtualNetwork = bool(readEnvironmentVariable('USE_VIRTUAL_NETWORK', 'false'))
param virtualNetworkPrefix = readEnvironmentVariable('VIRTUAL_NETWORK_PREFIX', '10.140.0.0/24')

// No default: a deployment without it stops at once.
param dynamicsEnvironmentUrl = readEnvironmentVariable('DYNAMICS_ENVIRONMENT_URL')
param dynamicsAuth = readEnvironmentVariable('DYNAMICS_AUTH', 'client_secret')
param dynamicsTenantId = readEnvironmentVariable('DYNAMICS_TENANT_ID', '')
param dynamicsClientId = readEnvironmentVariable('DYNAMICS_CLIENT_ID', '')
param dynamicsClientSecret = readEnvironmentVariable('DYNAMICS_CLIENT_SECRET', '')

param defaultQueueId = readEnvironmentVariable('DEFAULT_QUEUE_ID', '')
param defaultWorkstreamId = readEnvironmentVariable('DEFAULT_WORKSTREAM_ID', '')
param defaultOwnerId = readEnvironmentVariable('DEFAULT_OWNER_ID', '')
param defaultPriority = readEnvironmentVariable('DEFAULT_PRIORITY', '')
param ticketProperties = readEnvironmentVariable('TICKET_PROPERTIES', '')
param contactMatch = readEnvironmentVariable('CONTACT_MATCH', '')
param unlinkedIncidents = readEnvironmentVariable('UNLINKED_INCIDENTS', '')
param fallbackCustomer = readEnvironmentVariable('FALLBACK_CUSTOMER', '')
param handoffRoutes = readEnvironmentVariable('HANDOFF_ROUTES', '')
param liveWorkItemPreset = readEnvironmentVariable('LIVE_WORK_ITEM_PRESET', '')

param opencxApiUrl = readEnvironmentVariable('OPENCX_API_URL', '')
param opencxApiKey = readEnvironmentVariable('OPENCX_API_KEY', '')

param handoffBudgetSeconds = readEnvironmentVariable('HANDOFF_BUDGET_SECONDS', '')
param maxBodyBytes = readEnvironmentVariable('MAX_BODY_BYTES', '')
param recordRetentionDays = readEnvironmentVariable('RECORD_RETENTION_DAYS', '')
param reconcileSchedule = readEnvironmentVariable('RECONCILE_SCHEDULE', '0 * * * * *')
param reconcileHandoffsPerSecond = readEnvironmentVariable('RECONCILE_HANDOFFS_PER_SECOND', '')
param extraSettings = json(readEnvironmentVariable('EXTRA_SETTINGS', '{}'))

param alertEmails = json(readEnvironmentVariable('ALERT_EMAILS', '[]'))
param actionGroupIds = json(readEnvironmentVariable('ACTION_GROUP_IDS', '[]'))
param administratorObjectId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param administratorType = readEnvironmentVariable('AZURE_PRINCIPAL_TYPE', 'User')
param vaultRetentionDays = int(readEnvironmentVariable('VAULT_RETENTION_DAYS', '90'))
param recoverVault = bool(readEnvironmentVariable('RECOVER_VAULT', 'false'))
