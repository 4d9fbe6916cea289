// One participant of a mesh call, by the wire contract: the camera is on from the start, the lower id makes the first
// offer, and when both offer at once the lower id's wins.

import { socketAt } from "./frontend.js";

const RETRY = 300; // milliseconds; the real one waits 3 seconds
const HEARTBEAT = 10_000;
const UNANSWERED = 3_000;
const ONLINE = 4;
const OFFER = 1;
const ANSWER = 2;
const CANDIDATE = 3;

export class Call {
  states = new Map(); // by user id
  peers = new Map();
  frames = []; // the type of every frame that came
  started = false;
  endReason = null;
  unauthorized = false;

  static async join(api, callId) {
    const camera = await navigator.mediaDevices.getUserMedia({
      audio: true,
      video: { width: 160, height: 120, frameRate: 10 },
    });
    const token = await api.call("POST", "/call/join", { query: { callId } });
    return new Call(api.userId, token, camera);
  }

  constructor(userId, token, camera) {
    Object.assign(this, { userId, token, camera });
    this.connect();
  }

  connect() {
    const socket = (this.socket = socketAt("/ws/call"));
    let beating;
    socket.onopen = () => {
      socket.send(this.token);
      beating = setInterval(() => this.send(5, ""), HEARTBEAT);
    };
    socket.onmessage = ({ data }) => this.told(JSON.parse(data));
    socket.onclose = () => {
      clearInterval(beating);
      if (!this.unauthorized && this.endReason === null) setTimeout(() => this.connect(), RETRY);
    };
  }

  send(type, payload) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, payload }));
  }

  signal(toUserId, type, payload) {
    this.send(4, JSON.stringify({ toUserId, message: JSON.stringify({ type, payload }) }));
  }

  told({ type, payload }) {
    this.frames.push(type);
    if (type === 1) this.unauthorized = true;
    else if (type === 2) JSON.parse(payload).forEach((member) => this.see(member));
    else if (type === 3) this.see(JSON.parse(payload));
    else if (type === 4) this.signaled(JSON.parse(payload));
    else if (type === 6) this.started = true;
    else if (type === 7) this.end(Number(payload));
  }

  see({ userId, state }) {
    this.states.set(userId, state);
    if (userId !== this.userId && state === ONLINE) this.peer(userId);
  }

  peer(userId) {
    if (!this.peers.has(userId)) this.peers.set(userId, new Peer(this, userId));
    return this.peers.get(userId);
  }

  signaled({ fromUserId, message }) {
    const peer = this.peer(fromUserId);
    const { type, payload } = JSON.parse(message);
    peer.turn = peer.turn.then(() => peer.signaled(type, payload)); // one after the other
  }

  end(reason) {
    this.endReason = reason;
    this.peers.forEach((peer) => peer.connection.close());
    this.camera.getTracks().forEach((track) => track.stop());
  }

  // By user: the size of the picture that is shown, how many were decoded, how many packets of sound came.
  async arrivals() {
    const entries = [...this.peers].map(async ([userId, peer]) => [userId, await peer.arrivals()]);
    return Object.fromEntries(await Promise.all(entries));
  }
}

class Peer {
  turn = Promise.resolve();
  video = document.body.appendChild(document.createElement("video"));

  constructor(call, userId) {
    Object.assign(this, { call, userId, polite: call.userId > userId });
    const connection = (this.connection = new RTCPeerConnection());
    Object.assign(this.video, { autoplay: true, muted: true, srcObject: new MediaStream() });
    connection.ontrack = ({ track }) => this.video.srcObject.addTrack(track);
    connection.onicecandidate = ({ candidate }) => candidate && call.signal(userId, CANDIDATE, candidate);
    call.camera.getTracks().forEach((track) => connection.addTrack(track, call.camera));
    if (!this.polite) this.offer();
  }

  async offer() {
    if (this.connection.signalingState === "closed" || this.call.endReason !== null) return;
    await this.connection.setLocalDescription(await this.connection.createOffer());
    this.call.signal(this.userId, OFFER, this.connection.localDescription);
    setTimeout(() => this.connection.signalingState === "have-local-offer" && this.offer(), UNANSWERED);
  }

  async signaled(type, payload) {
    const { connection } = this;
    if (type === OFFER) {
      if (connection.signalingState === "have-local-offer" && !this.polite) return; // ours wins
      await connection.setRemoteDescription(payload); // rolls an offer of ours back
      await connection.setLocalDescription(await connection.createAnswer());
      this.call.signal(this.userId, ANSWER, connection.localDescription);
    } else if (type === ANSWER) {
      if (connection.signalingState === "have-local-offer") await connection.setRemoteDescription(payload);
    } else if (type === CANDIDATE && connection.remoteDescription) {
      await connection.addIceCandidate(payload);
    }
  }

  async arrivals() {
    const inbound = [...(await this.connection.getStats()).values()].filter(({ type }) => type === "inbound-rtp");
    const of = (kind) => inbound.find((stats) => stats.kind === kind) ?? {};
    const { videoWidth, videoHeight } = this.video;
    return {
      size: [videoWidth, videoHeight],
      pictures: of("video").framesDecoded ?? 0,
      sounds: of("audio").packetsReceived ?? 0,
    };
  }
}
