// Drives the Dataverse stand-in with npm dynamics-web-api and prints what that library returns, as one JSON object.
// Usage: node dynamics_web_api.mjs <server URL> <token> <account id> <queue id>
import { createRequire } from "node:module";

const { DynamicsWebApi } = createRequire(import.meta.url)("dynamics-web-api");
const [serverUrl, token, account, queue] = process.argv.slice(2);
const api = new DynamicsWebApi({
  serverUrl,
  dataApi: { version: "9.2" },
  onTokenRefresh: async () => token,
});
const bad = new DynamicsWebApi({ serverUrl, dataApi: { version: "9.2" }, onTokenRefresh: async () => "bad" });

/** An error of the library, reduced to what it documents; a part of a batch keeps the envelope in `error`. */
function plain(error) {
  const { code, message } = error.error ?? error;
  return { status: error.status, code, message };
}

/** What a call throws; a failed batch throws a list. */
async function thrown(call) {
  try {
    await call();
  } catch (error) {
    return Array.isArray(error) ? error.map(plain) : plain(error);
  }
  return null;
}

const out = {};
out.whoAmI = await api.callFunction("WhoAmI");
out.created = await api.create({ collection: "contacts", data: { firstname: "Ann", emailaddress1: "o'neil+x@b.com" } });
out.represented = await api.create({
  collection: "contacts",
  data: { firstname: "Bob", lastname: "Ray" },
  returnRepresentation: true,
  select: ["fullname"],
});
out.found = await api.retrieveMultiple({
  collection: "contacts",
  select: ["fullname", "emailaddress1"],
  filter: "emailaddress1 eq 'o''neil+x@b.com' and statecode eq 0",
  orderBy: ["createdon asc"],
  top: 2,
});
out.one = await api.retrieve({ collection: "contacts", key: out.created, select: ["firstname"] });
out.updated = await api.update({ collection: "contacts", key: out.created, data: { lastname: "Lee" } });
out.after = await api.retrieve({ collection: "contacts", key: out.created, select: ["fullname"] });

const id = "6f1d0c1e-9f3b-4c0b-8d56-2f9d1f3f7a10";
const incident = {
  collection: "incidents",
  key: id,
  data: { title: "t", "customerid_account@odata.bind": `/accounts(${account})` },
  ifnonematch: "*",
  returnRepresentation: true,
  select: ["ticketnumber"],
};
out.upserted = await api.upsert(incident);
out.upsertedAgain = await api.upsert(incident);
const target = { Target: { incidentid: id, "@odata.type": "Microsoft.Dynamics.CRM.incident" } };
const add = { actionName: "Microsoft.Dynamics.CRM.AddToQueue", collection: "queues", key: queue, action: target };
out.queued = await api.callAction(add);
out.queuedAgain = await api.callAction(add);

api.startBatch();
api.create({ collection: "contacts", data: { firstname: "Cy" }, contentId: "1" });
api.create({ collection: "incidents", data: { title: "b", "customerid_contact@odata.bind": "$1" } });
api.retrieveMultiple({ collection: "queues", select: ["name"], inChangeSet: false });
out.batch = await api.executeBatch();
api.startBatch();
api.create({ collection: "contacts", data: { firstname: "Lost" } });
api.create({ collection: "incidents", data: { title: "no customer" } });
out.failedBatch = await thrown(() => api.executeBatch());
out.lost = await api.retrieveMultiple({ collection: "contacts", filter: "firstname eq 'Lost'" });

api.startBatch();
api.retrieve({ collection: "contacts", key: "00000000-0000-4000-8000-00000000dead", inChangeSet: false });
api.retrieve({ collection: "queues", key: queue, select: ["name"], inChangeSet: false });
out.continued = (await api.executeBatch({ continueOnError: true })).map((part) =>
  part instanceof Error ? plain(part) : part.name,
);

out.paged = await api.retrieveMultiple({ collection: "contacts", select: ["fullname"], maxPageSize: 2 });
out.secondPage = await api.retrieveMultiple(
  { collection: "contacts", select: ["fullname"], maxPageSize: 2 },
  out.paged.oDataNextLink,
);
out.counted = await api.count({ collection: "queues", filter: "statecode eq 0" });
out.entity = await api.retrieveEntity({ key: "LogicalName='incident'", select: ["EntitySetName"] });

out.errors = {
  noCustomer: await thrown(() => api.create({ collection: "incidents", data: { title: "t" } })),
  longText: await thrown(() => api.create({ collection: "contacts", data: { firstname: "x".repeat(51) } })),
  unknownSet: await thrown(() => api.create({ collection: "widgets", data: {} })),
  badToken: await thrown(() => bad.callFunction("WhoAmI")),
};
out.deleted = await api.deleteRecord({ collection: "contacts", key: out.created });
out.gone = await thrown(() => api.retrieve({ collection: "contacts", key: out.created }));
process.stdout.write(JSON.stringify(out));
