import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/** Runs the statements of a file in one JVM, and says what the INSERTs among them cost: CPU and wall seconds, MiB resident. */
public final class Flink {
    private static final Pattern SET = Pattern.compile("SET '(.*)' = '(.*)'");

    public static void main(String[] arguments) throws Exception {
        var environment = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        for (var statement : Files.readString(Path.of(arguments[0])).split(";\\s*\\n")) {
            if (statement.isBlank()) {
                continue;
            }
            var set = SET.matcher(statement.strip());
            if (set.matches()) {
                environment.getConfig().set(set.group(1), set.group(2));
                continue;
            }
            long cpu = system.getProcessCpuTime();
            long wall = System.nanoTime();
            TableResult result = environment.executeSql(statement);
            if (statement.stripLeading().startsWith("INSERT")) {
                result.await();
                System.out.printf(
                    "{\"cpu\": %.3f, \"wall\": %.3f, \"resident_mib\": %d}%n",
                    (system.getProcessCpuTime() - cpu) / 1e9, (System.nanoTime() - wall) / 1e9, resident());
            }
        }
        System.exit(0);
    }

    /** The most that the process ever held. */
    private static long resident() throws Exception {
        for (var line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) >> 10;
            }
        }
        return 0;
    }
}
