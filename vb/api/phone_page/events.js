// Events of the server over its WebSocket, which is opened again whenever it breaks.

import { socket } from "/calls/server.js";

const LONGEST_WAIT_MS = 8000;

// take: gets each event; opened: called while none flow and whenever they flow again, because some may have been missed.
export function listen(take, opened) {
  let line = null;
  let timer = 0;
  let wait = 500;
  let over = false;
  const connect = () => {
    line = socket("/v1/vsi");
    line.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "ping") line.send('{"type":"pong"}');
      else if (event.type === "connected" || event.type === "events_dropped") {
        wait = 500;
        opened();
      } else take(event);
    };
    line.onclose = () => {
      if (over) return;
      timer = setTimeout(() => {
        opened(); // where events cannot be had the page looks itself
        connect();
      }, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    };
  };
  connect();
  return () => {
    over = true;
    clearTimeout(timer);
    line.close();
  };
}
