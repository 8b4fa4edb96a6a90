// A JMS 1.1 producer, as a calendar server is one: publishes what it reads from standard input to a topic.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import javax.jms.Connection;
import javax.jms.DeliveryMode;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnectionFactory;

public class Publisher {
  /** Arguments: broker URL, user, password, topic. A line: `text|bytes|map|object|large`, name=value…, body in Base64; by tabs. The body of `large` is a size. */
  public static void main(String[] args) throws Exception {
    Connection connection = new ActiveMQConnectionFactory(args[1], args[2], args[0]).createConnection();
    connection.start();
    Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
    MessageProducer producer = session.createProducer(session.createTopic(args[3]));
    producer.setDeliveryMode(DeliveryMode.PERSISTENT);
    System.out.println("ready");
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] parts = line.split("\t", -1);
      Message message = messageOf(session, parts[0], new String(Base64.getDecoder().decode(parts[parts.length - 1]), StandardCharsets.UTF_8));
      for (int i = 1; i < parts.length - 1; i++) {
        int at = parts[i].indexOf('=');
        String name = parts[i].substring(0, at);
        String value = parts[i].substring(at + 1);
        if (name.equals("rid")) message.setIntProperty(name, Integer.parseInt(value));
        else message.setStringProperty(name, value);
      }
      producer.send(message);
      System.out.println("sent " + message.getJMSMessageID());
    }
    connection.close();
  }

  private static Message messageOf(Session session, String kind, String body) throws Exception {
    switch (kind) {
      case "map":
        MapMessage map = session.createMapMessage();
        map.setString("body", body);
        return map;
      case "object":
        return session.createObjectMessage(body);
      case "bytes":
        javax.jms.BytesMessage bytes = session.createBytesMessage();
        bytes.writeBytes(body.getBytes(StandardCharsets.UTF_8));
        return bytes;
      case "large":
        return session.createTextMessage("A".repeat(Integer.parseInt(body)));
      default:
        return session.createTextMessage(body);
    }
  }
}
