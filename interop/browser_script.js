(() => {
// One caller: carries out the orders of the script that put it into a page of the server.
const api = '/v1';
const context = new AudioContext({ sampleRate: 48000 });
const analyser = context.createAnalyser();
analyser.fftSize = 16384;
analyser.smoothingTimeConstant = 0;
let peer, sender, track, relayed = false, legId = null, early = [], states = [];

const post = async (path, body) => {
  const reply = await fetch(api + path, { method: 'POST', body: JSON.stringify(body) });
  if (!reply.ok) throw new Error(path + ' answered ' + reply.status + ' ' + await reply.text());
  return reply.json();
};
// A caller that is to be relayed knows the server by its relays only.
const usable = ({ candidate }) => !relayed || candidate.includes(' typ relay ');
const without = sdp => sdp.split('\r\n')
  .filter(line => !line.startsWith('a=candidate:') || usable({ candidate: line })).join('\r\n');
const give = candidate => post('/legs/' + legId + '/ice-candidates', candidate);

async function takeCandidates() {
  for (;;) {
    const reply = await (await fetch(api + '/legs/' + legId + '/ice-candidates')).json();
    for (const candidate of reply.candidates.filter(usable)) await peer.addIceCandidate(candidate);
    if (reply.done) return;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

async function exchange(options) {
  const offer = await peer.createOffer(options);
  await peer.setLocalDescription(offer);
  const answer = await post('/webrtc/offer', legId ? { sdp: offer.sdp, leg_id: legId } : { sdp: offer.sdp });
  legId = answer.leg_id;
  await peer.setRemoteDescription({ type: 'answer', sdp: without(answer.sdp) });
  await Promise.all(early.map(give));
  early = [];
  await takeCandidates();
  return answer;
}

window.orders = {
  async call({ video, first, turn }) {
    const stream = await navigator.mediaDevices.getUserMedia(
      { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    track = stream.getAudioTracks()[0];
    relayed = Boolean(turn);
    peer = new RTCPeerConnection({
      ...(turn ? { iceServers: [turn], iceTransportPolicy: 'relay' } : {}), ...(first ? { bundlePolicy: 'max-bundle' } : {}) });
    if (first) peer.addTransceiver('video', { direction: 'recvonly' });
    sender = peer.addTrack(track, stream);
    if (video) { peer.addTransceiver('video'); peer.createDataChannel('chat'); }
    peer.onicecandidate = event => {
      if (event.candidate === null) return;
      if (legId) give(event.candidate); else early.push(event.candidate.toJSON());
    };
    peer.onconnectionstatechange = () => states.push(peer.connectionState);
    peer.ontrack = event => {
      if (event.track.kind !== 'audio') return;
      const heard = new MediaStream([event.track]);
      const speaker = new Audio();
      speaker.srcObject = heard; speaker.muted = true; speaker.play();
      context.createMediaStreamSource(heard).connect(analyser);
    };
    const answer = await exchange();
    return { leg_id: legId, sdp: answer.sdp };
  },
  async restart() { return { sdp: (await exchange({ iceRestart: true })).sdp }; },
  async hear({ pitches }) {
    const levels = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(levels);
    const bin = hz => Math.round(hz * analyser.fftSize / context.sampleRate);
    const at = hz => Math.max(...levels.slice(bin(hz) - 2, bin(hz) + 3));
    let loudest = 0;
    levels.forEach((level, index) => { if (level > levels[loudest]) loudest = index; });
    return {
      loudest_hz: loudest * context.sampleRate / analyser.fftSize,
      levels_db: pitches.map(at),
    };
  },
  async figures() {
    const found = {};
    (await peer.getStats()).forEach(row => {
      if (row.type === 'inbound-rtp') Object.assign(found, {
        received: row.packetsReceived, lost: row.packetsLost,
        concealed: row.concealedSamples, samples: row.totalSamplesReceived });
      if (row.type === 'outbound-rtp') Object.assign(found, { sent: row.packetsSent, sent_bytes: row.bytesSent });
      if (row.type === 'transport') Object.assign(found, { cipher: row.srtpCipher, role: row.dtlsRole });
    });
    return found;
  },
  async route() {
    const rows = new Map();
    (await peer.getStats()).forEach(row => rows.set(row.id, row));
    const transport = [...rows.values()].find(row => row.type === 'transport' && row.selectedCandidatePairId);
    const pair = transport && rows.get(transport.selectedCandidatePairId);
    return pair ? {
      local: rows.get(pair.localCandidateId).candidateType,
      remote: rows.get(pair.remoteCandidateId).candidateType,
    } : {};
  },
  async mute({ muted }) { track.enabled = !muted; return {}; },
  async press({ digits }) { sender.dtmf.insertDTMF(digits, 120, 80); return {}; },
  async state() { return { state: peer.connectionState, states }; },
  async close() { peer.close(); return {}; },
};
})()
