// What tells a human whether handoffs land: a workbook, saved queries, alerts, and who is woken.
// Every query has a file of its own in queries/; docs/monitoring.md explains each.

@description('Beginning of every name.')
@maxLength(40)
param namePrefix string

@description('Region of the alert rules and the workbook.')
param location string

@description('Tags of every resource.')
param tags object

@description('Resource id of the Log Analytics workspace behind Application Insights, in this resource group.')
param workspaceId string

@description('Resource id of the Application Insights component that the function app logs to.')
param applicationInsightsId string

@description('Addresses that are mailed when an alert fires. Empty: no action group is made.')
param alertEmails array = []

@description('Resource ids of action groups that exist and are called too.')
param actionGroupIds array = []

var notified = empty(alertEmails) ? actionGroupIds : concat(actionGroupIds, [actionGroup.id])

// In the query of an alert a row is an alarm. The window is longer than the frequency, for log lines come in late by
// minutes: a line that missed one look is in the next. A rule that has fired stays silent until it is resolved.
// `looksBack` is for a state that lasts; two days is the longest that a rule may look back.
var alerts = [
  {
    name: 'not-stored'
    title: 'A handoff or webhook was neither stored nor delivered'
    text: 'It got 503 or 500, and OpenCX does not repeat a handoff. Runbook: "Callers get 503".'
    query: loadTextContent('queries/alert-not-stored.kql')
    severity: 0
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'failed'
    title: 'A handoff has failed for good'
    text: 'It lands only after the cause is mended and it is replayed. Runbook: "A handoff has failed".'
    query: loadTextContent('queries/alert-failed.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'waiting'
    title: 'A customer has waited for more than 5 minutes'
    text: 'A handoff was tried and has not landed. Runbook: "Handoffs wait".'
    query: loadTextContent('queries/alert-waiting.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'P2D'
  }
  {
    name: 'overdue'
    title: 'A handoff was due for more than 5 minutes'
    text: 'The timer does not keep up, or a system is paused. Runbook: "Handoffs wait".'
    query: loadTextContent('queries/alert-overdue.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'paused'
    title: 'A system is paused'
    text: 'Handoffs to it wait, and lose no attempts. Runbook: "A system is paused".'
    query: loadTextContent('queries/alert-paused.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'P2D'
  }
  {
    name: 'timer-silent'
    title: 'The timer has been silent for 5 minutes'
    text: 'Nothing that waits is tried again. Runbook: "The timer is silent".'
    query: loadTextContent('queries/alert-timer-silent.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'undelivered'
    title: 'A message does not reach the other side'
    text: 'A rep or a customer waits for words that will not come. Runbook: "A message was not delivered".'
    query: loadTextContent('queries/alert-undelivered.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'relay-waiting'
    title: 'Open conversations wait'
    text: 'Messages are kept, and go on once the cause is mended. Runbook: "Conversations wait".'
    query: loadTextContent('queries/alert-relay-waiting.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'relay-stalled'
    title: 'The relay loses its wake-ups'
    text: 'Messages come minutes late. Runbook: "The relay stands still".'
    query: loadTextContent('queries/alert-relay-stalled.kql')
    severity: 1
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'replies-late'
    title: 'More than one in twenty replies takes longer than 10 seconds'
    text: 'Customers wait for what reps have written already. Runbook: "Messages come late".'
    query: loadTextContent('queries/alert-replies-late.kql')
    severity: 2
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'webhook-refused'
    title: 'Webhooks are refused'
    text: 'OpenCX or Dynamics 365 signs other than we check, or a stranger tries. Runbook: "A webhook is refused".'
    query: loadTextContent('queries/alert-webhook-refused.kql')
    severity: 2
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'transcript-unavailable'
    title: 'Handoffs land without their transcript'
    text: 'OpenCX gives nothing for the key that we have, or fails. Runbook: "Transcripts are missing".'
    query: loadTextContent('queries/alert-transcript-unavailable.kql')
    severity: 2
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'crashed'
    title: 'The service itself failed'
    text: 'A bug. What it was at is tried again. Runbook: "The service crashes".'
    query: loadTextContent('queries/alert-crashed.kql')
    severity: 2
    window: 'PT15M'
    looksBack: 'PT15M'
  }
  {
    name: 'error-rate'
    title: 'More than one in twenty answers is an error'
    text: 'Answers of 500 and above, those to webhooks included. Runbook: "Too many errors".'
    query: loadTextContent('queries/alert-error-rate.kql')
    severity: 2
    window: 'PT15M'
    looksBack: 'PT15M'
  }
]

var savedQueries = [
  { name: 'handoffs', title: 'Handoffs by channel and state', query: loadTextContent('queries/handoffs.kql') }
  { name: 'time-to-land', title: 'Seconds until landed', query: loadTextContent('queries/time-to-land.kql') }
  { name: 'waiting', title: 'Handoffs that wait', query: loadTextContent('queries/waiting.kql') }
  { name: 'failed', title: 'Handoffs that failed', query: loadTextContent('queries/failed.kql') }
  { name: 'failed-reasons', title: 'Reasons of failures', query: loadTextContent('queries/failed-reasons.kql') }
  { name: 'retries', title: 'Retries by error', query: loadTextContent('queries/retries.kql') }
  { name: 'paused-systems', title: 'Paused systems', query: loadTextContent('queries/paused-systems.kql') }
  { name: 'round-trips', title: 'Dataverse calls a handoff', query: loadTextContent('queries/round-trips.kql') }
  { name: 'throttled', title: 'Answers of 429', query: loadTextContent('queries/throttled.kql') }
  { name: 'dataverse-answers', title: 'Dataverse answers', query: loadTextContent('queries/dataverse-answers.kql') }
  { name: 'conversations', title: 'Conversations and messages', query: loadTextContent('queries/conversations.kql') }
  { name: 'open-conversations', title: 'Open conversations', query: loadTextContent('queries/open-conversations.kql') }
  { name: 'reply-delay', title: 'Seconds to the other side', query: loadTextContent('queries/reply-delay.kql') }
  { name: 'relay-waiting', title: 'Why conversations wait', query: loadTextContent('queries/relay-waiting.kql') }
  { name: 'undelivered', title: 'What did not arrive', query: loadTextContent('queries/undelivered.kql') }
  { name: 'webhooks', title: 'Webhooks', query: loadTextContent('queries/webhooks.kql') }
  { name: 'lanes', title: 'Does the relay keep going', query: loadTextContent('queries/lanes.kql') }
  { name: 'salesforce-answers', title: 'Salesforce answers', query: loadTextContent('queries/salesforce-answers.kql') }
  { name: 'messaging-answers', title: 'Messaging APIs answer', query: loadTextContent('queries/messaging-answers.kql') }
  { name: 'timer-runs', title: 'Timer runs', query: loadTextContent('queries/timer-runs.kql') }
  { name: 'left-out', title: 'Parts left out', query: loadTextContent('queries/left-out.kql') }
  { name: 'refused-requests', title: 'Refused requests', query: loadTextContent('queries/refused-requests.kql') }
  { name: 'dependencies', title: 'Table Storage and Key Vault', query: loadTextContent('queries/dependencies.kql') }
  { name: 'crashes', title: 'Crashes', query: loadTextContent('queries/crashes.kql') }
  { name: 'one-handoff', title: 'One handoff, step by step', query: loadTextContent('queries/one-handoff.kql') }
]

var workbookTitle = 'OpenCX handoffs (${namePrefix})'
var workspaceTables = loadTextContent('workspace-tables.kql')

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmails)) {
  name: '${namePrefix}-alerts'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'handoffs'
    emailReceivers: [
      for (address, index) in alertEmails: {
        name: 'mail-${index}'
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
  }
}

resource alertRules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: '${namePrefix}-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: alert.title
      description: alert.text
      enabled: true
      severity: alert.severity
      scopes: [applicationInsightsId]
      targetResourceTypes: ['microsoft.insights/components']
      evaluationFrequency: 'PT5M'
      windowSize: alert.window
      overrideQueryTimeRange: alert.looksBack
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Count'
            operator: 'GreaterThan'
            threshold: 0
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: notified
      }
    }
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, namePrefix, 'workbook')
  location: location
  kind: 'shared'
  tags: union(tags, { 'hidden-title': workbookTitle })
  properties: {
    displayName: workbookTitle
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: applicationInsightsId
    serializedData: replace(loadTextContent('workbook.json'), '__APPLICATION_INSIGHTS_ID__', applicationInsightsId)
  }
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-07-01' existing = {
  name: last(split(workspaceId, '/'))
}

resource searches 'Microsoft.OperationalInsights/workspaces/savedSearches@2025-07-01' = [
  for search in savedQueries: {
    parent: workspace
    name: '${namePrefix}-${search.name}'
    etag: '*' // otherwise a second deployment is refused
    properties: {
      category: 'OpenCX handoffs'
      displayName: search.title
      query: '${workspaceTables}${search.query}'
      version: 2
    }
  }
]

@description('Resource id of the workbook.')
output workbookId string = workbook.id

@description('Names of the alert rules.')
output alertRuleNames array = [for alert in alerts: '${namePrefix}-${alert.name}']
