// Talks to the node.

const PATIENCE_MS = 5000;

/** A JSON answer; throws an Error with words for people. */
async function ask(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  if (response.status === 401) location.assign("login");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the node answered ${response.status}`);
  return answer;
}

export const getState = () => ask("api/state");
export const getEvents = (limit, after) => ask(`api/events?limit=${limit}${after == null ? "" : `&after=${after}`}`);

const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Vedette": "page" }, body: JSON.stringify(body) });

/** Ask the node to do something. */
export const command = (target, what, payload) => post("api/command", { target, what, payload });
export const logout = () => post("logout", {});
