// A frontend in small: with HTTP and the notification socket it does what the wire contract says that the real one
// relies on, and nothing else. Protocol pings are answered by the browser.

const RETRY = 300; // milliseconds; the real one waits 3 seconds
const HEARTBEAT = 30_000;

export class Refused extends Error {
  constructor(envelope) {
    super(`${envelope.code} ${envelope.message}`);
    this.code = envelope.code;
  }
}

export class Api {
  constructor(token = "") {
    this.token = token;
  }

  // The data of a success. Throws Refused.
  async call(method, path, { query = {}, body } = {}) {
    const headers = this.token ? { Authorization: this.token } : {};
    const form = body instanceof FormData;
    if (body && !form) headers["Content-Type"] = "application/json";
    const url = `/api${path}?${new URLSearchParams(query)}`;
    const answer = await fetch(url, { method, headers, body: form || !body ? body : JSON.stringify(body) });
    const envelope = await answer.json();
    if (envelope.status !== "ok") throw new Refused(envelope);
    return envelope.data;
  }

  static async register(username) {
    const body = { username, password: "correct horse", nickname: username, avatar: "" };
    const { userId, token } = await new Api().call("POST", "/register", { body });
    return Object.assign(new Api(token), { userId });
  }

  async upload(content, name, type) {
    const body = new FormData();
    body.append("file", new Blob([content], { type }), name);
    return this.call("POST", "/file/upload", { body });
  }

  // My contact with a user.
  async contactOf(userId) {
    return (await this.call("GET", "/contact")).find((contact) => contact.userId === userId);
  }
}

export function socketAt(path) {
  return new WebSocket(`${location.origin.replace(/^http/, "ws")}/api${path}`);
}

export class Notifications {
  messages = new Map(); // by id, in their last state
  contacts = [];
  requests = [];
  handledCalls = [];
  came = []; // every delivery id, as it came
  opened = []; // "new" or "resumed", for every connection
  closed = []; // the close code of every connection
  last = 0;
  sessionId = "";

  constructor(api) {
    this.api = api;
    this.connect();
  }

  connect() {
    const socket = (this.socket = socketAt("/ws/notification"));
    let greeted = false;
    let beating;
    socket.onopen = () => {
      socket.send(this.api.token);
      socket.send(this.sessionId);
      beating = setInterval(() => socket.send("1"), HEARTBEAT);
    };
    socket.onmessage = ({ data }) => {
      if (greeted) return this.notified(JSON.parse(data));
      greeted = true;
      const [sessionId, lastId] = data.replace(/^session:/, "").split("\n");
      this.opened.push(lastId === undefined ? "resumed" : "new");
      this.sessionId = sessionId;
      if (Number(lastId) > this.last) this.sync(this.last);
    };
    socket.onclose = ({ code }) => {
      clearInterval(beating);
      this.closed.push(code);
      setTimeout(() => this.connect(), RETRY);
    };
  }

  notified({ type, payload }) {
    if (type === 1) {
      this.came.push(payload.deliveryId);
      this.last = payload.deliveryId;
      this.merge(payload);
    } else {
      [this.contacts, this.requests, this.handledCalls][type - 2].push(payload);
    }
  }

  merge(message) {
    const known = this.messages.get(message.messageId);
    if (!known || known.deliveryId <= message.deliveryId) this.messages.set(message.messageId, message);
  }

  // Fetch what is above `synced`, from the newest down.
  async sync(synced) {
    let query = { synced, limit: 50 };
    let page;
    do {
      page = await this.api.call("GET", "/chat/sync", { query });
      page.forEach((message) => this.merge(message));
      query = { ...query, last: page.at(-1)?.deliveryId };
    } while (page.length === 50);
    this.last = Math.max(this.last, ...[...this.messages.values()].map((message) => message.deliveryId));
  }

  texts() {
    return [...this.messages.values()].sort((a, b) => a.messageId - b.messageId).map((message) => message.text);
  }
}
